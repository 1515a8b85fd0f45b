-- A restart ends the job that runs first, which takes its time and may take a link that is away: what is to follow is written
-- before the host is asked, so that it is not forgotten with the manager that was asked for it.

ALTER TABLE sessions ADD COLUMN restart_job_id TEXT;
