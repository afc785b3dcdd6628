-- An archive is named by the BLAKE3 of its content, which follows from those of its parts. What stands there already keeps
-- the name it has, its SHA-256.

ALTER TABLE upload RENAME COLUMN sha256 TO hash;
