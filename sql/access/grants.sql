-- Nobody but the owner has rights yet: not even to call a function, which PostgreSQL grants to everyone by default.

alter default privileges revoke execute on functions from public;
revoke execute on all functions in schema public, bus, secrets, rest from public;
revoke all on schema bus, secrets, rest from public;
