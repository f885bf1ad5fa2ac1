-- When a price was said, and by whom: the address of the list that told it, '' for the user.
ALTER TABLE agent_prices ADD COLUMN as_of TEXT NOT NULL DEFAULT '';
ALTER TABLE agent_prices ADD COLUMN source TEXT NOT NULL DEFAULT '';
