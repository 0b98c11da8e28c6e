PRAGMA journal_mode = WAL;
CREATE TABLE radcheck (id INTEGER PRIMARY KEY, username TEXT NOT NULL, attribute TEXT NOT NULL, op TEXT NOT NULL, value TEXT NOT NULL);
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < @USERS@) INSERT INTO radcheck (username, attribute, op, value) SELECT printf('u%08d@bench.example.test', i), 'Cleartext-Password', ':=', printf('p%08d', i) FROM n;
CREATE UNIQUE INDEX radcheck_username ON radcheck (username);
