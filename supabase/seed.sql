-- Nothing to seed by SQL: every record goes through the program, which checks it and writes its audit entry.
-- `npm start` seeds a demonstration; `npm run bootstrap-admin` makes the first administrator.
select 1;
