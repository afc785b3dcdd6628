-- An invitation that was made with a key that ends: the link ends with the key, and so do the keys made by accepting it.

ALTER TABLE invitation ADD COLUMN key_ends_at INTEGER;  -- null: the inviter's key has no end
