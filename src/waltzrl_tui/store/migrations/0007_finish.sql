-- Why an answer ended, in its server's words; NULL for those kept before this was noted.
ALTER TABLE answers ADD COLUMN finish TEXT;
