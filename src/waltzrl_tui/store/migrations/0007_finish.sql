-- Why an answer ended, in its server's words; '' for those kept before this was.
ALTER TABLE answers ADD COLUMN finish TEXT NOT NULL DEFAULT '';
