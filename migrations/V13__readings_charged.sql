-- What was read of an archive is charged to whoever brought the archive first: the team that uses it, or whose key sent it.

ALTER TABLE archive_reading ADD COLUMN org_id TEXT;
ALTER TABLE archive_reading ADD COLUMN team_id TEXT;

UPDATE archive_reading
SET org_id = (SELECT org_id FROM upload WHERE upload.hash = archive_reading.hash ORDER BY uploaded_at, s3_key LIMIT 1),
    team_id = (SELECT coalesce(team_upload.team_id, upload.team_id)
               FROM upload LEFT JOIN team_upload ON team_upload.s3_key = upload.s3_key
               WHERE upload.hash = archive_reading.hash
               ORDER BY upload.uploaded_at, upload.s3_key
               LIMIT 1);
