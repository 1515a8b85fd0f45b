-- What the user changed here and the host may not have heard of: only that is written there, because another manager may
-- hold the same job under another name. Up to now everything was told at every link, so what is not done yet is told once more.

ALTER TABLE sessions ADD COLUMN name_untold BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN tags_untold BIGINT NOT NULL DEFAULT 0;

UPDATE sessions SET name_untold = 1, tags_untold = 1 WHERE state <> 'done';
