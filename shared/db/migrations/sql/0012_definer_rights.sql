-- A trigger function runs as its owner, and a trigger on a table of one's own (a temporary one too) calls it with arguments of one's
-- own: whoever may execute this one may insert, as its owner, into a table whose name and triggers he chose. PUBLIC may execute
-- every new function unless told otherwise. A trigger that exists needs no such right of whoever fires it: histories still fill.
REVOKE EXECUTE ON FUNCTION ledger.keep_history() FROM PUBLIC;
