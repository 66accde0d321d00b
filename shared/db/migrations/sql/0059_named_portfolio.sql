-- An answer about one portfolio names it as it names its tenant (migration 0045), and sees no other for that transaction. The policies
-- of everything that belongs to a portfolio ask which portfolios there are: for each table of a statement all of the tenant's were
-- read and put in a hash, of ten thousand in two milliseconds. Nothing named: all of the tenant's, as ever.
--
-- Restrictive: it takes away from what `own_tenant` allows, and adds nothing to it.
CREATE POLICY named ON coordinator.portfolios AS RESTRICTIVE FOR SELECT TO leadline_api USING (
    id BETWEEN (SELECT CAST(coalesce(nullif(current_setting('leadline.portfolio', true), ''),
                                     '00000000-0000-0000-0000-000000000000') AS uuid))
           AND (SELECT CAST(coalesce(nullif(current_setting('leadline.portfolio', true), ''),
                                     'ffffffff-ffff-ffff-ffff-ffffffffffff') AS uuid)));
