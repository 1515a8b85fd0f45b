-- A copy, or a `sessd run` without a name, is there for its command alone. A manager that starts has nobody to ask whose it is, and a
-- command that was killed before it came never says so: it is on record.

ALTER TABLE sessions ADD COLUMN owned BIGINT NOT NULL DEFAULT 0;
