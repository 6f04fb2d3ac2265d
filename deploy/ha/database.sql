-- The counter's own account and database, made once, at the leader. The account owns the database and nothing else.
CREATE ROLE chopmark LOGIN PASSWORD '@DATABASE_PASSWORD@';
CREATE DATABASE chopmark OWNER chopmark ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0;
