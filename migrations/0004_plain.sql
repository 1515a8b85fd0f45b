-- What `sessd run` starts has pipes and not a terminal, and may be ended after a time. A manager that dies before the host was
-- asked for the job asks for it by the record, so it is on record.

ALTER TABLE sessions ADD COLUMN plain BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN run_for_ms BIGINT;
