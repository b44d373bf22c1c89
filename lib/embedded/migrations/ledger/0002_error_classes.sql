-- Counts and finds what fails by its class without reading the rows. Costs nothing where nothing fails.
CREATE INDEX run_organizations_by_error_class ON run_organizations (run, state, error_class, organization)
WHERE state IN ('failed', 'parked', 'retrying');
