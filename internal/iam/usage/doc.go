// Package usage owns how much a tenant is used, by UTC day and month.
//
// Nothing is counted in a request. RollUp counts the records that requests leave anyway: audit
// events, access records and decision records. A reader adds what is not rolled up yet.
//
// Invariants:
//   - A record is counted once. The counts and the time until which they reach (usage_rollups)
//     change in one transaction, so a roll-up may run late, twice, or on two replicas.
//   - Records are deleted after they were counted: the purges of housekeeping ask RollUp how far it
//     has come.
//   - Active users are exact. usage_people has a row for each person and month, and a bit for each
//     day.
//
// usage_months has the sums of each month outside of the tenant's locks, because the platform lists
// all tenants. It has no personal data.
package usage
