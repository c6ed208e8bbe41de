-- Seeds nothing. Records are created through the program, which validates them and writes their audit entries: `npm start` creates
-- demonstration data, `npm run bootstrap-admin` the first administrator.
select 1;
