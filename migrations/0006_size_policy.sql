-- Who sizes a session: latest, largest, smallest, or fixed, which is the size of the row.

ALTER TABLE sessions ADD COLUMN size_policy TEXT NOT NULL DEFAULT 'latest';
