package grant

// OfSessions returns the SQL of a subquery: the applications that took part in the sessions that a
// condition on sessions s selects. Its columns are session_id, application_id, user_id, issuer and
// ended_at. An application has one row for each of its grants, and one if Purge has deleted some.
//
// The condition stands in both halves. Outside of the union, SQLite would read all grants first.
func OfSessions(which string) string {
	return `(SELECT g.session_id, g.application_id, s.user_id, g.issuer, s.ended_at FROM sessions s
			JOIN grants g ON g.tenant_id = s.tenant_id AND g.user_id = s.user_id AND g.session_id = s.id
			WHERE s.tenant_id = $1 AND ` + which + `
		UNION ALL
		SELECT g.session_id, g.application_id, s.user_id, g.issuer, s.ended_at FROM sessions s
			JOIN session_applications g ON g.tenant_id = s.tenant_id AND g.session_id = s.id
			WHERE s.tenant_id = $1 AND ` + which + `)`
}

// The grants to purge: their ids are at most $4, and $2 is a time or an application.
const (
	expired = `SELECT id FROM grants WHERE tenant_id = $1 AND expires_at < $2 ORDER BY expires_at, id LIMIT $4`
	ended   = `SELECT id FROM grants WHERE tenant_id = $1 AND application_id = $2
		AND application_generation < $5 LIMIT $4`
)

// rememberPurged notes the applications of grants that are to be purged and whose sessions may
// still be ended. An application keeps a session of its own for longer than it can renew tokens.
// There is one note for an application and session, however many grants there were.
func rememberPurged(purgeable string) string {
	return `INSERT INTO session_applications (tenant_id, session_id, application_id, issuer)
	SELECT g.tenant_id, g.session_id, g.application_id, max(g.issuer) FROM grants g
	JOIN sessions s ON s.tenant_id = g.tenant_id AND s.id = g.session_id
	WHERE g.tenant_id = $1 AND s.ended_at IS NULL AND s.expires_at > $3
		AND g.id IN (` + purgeable + `)
	GROUP BY g.tenant_id, g.session_id, g.application_id
	ON CONFLICT DO NOTHING`
}

// purgeGrants deletes the grants that rememberPurged has noted, or that need no note. Beside
// another purge the two statements may select different grants.
func purgeGrants(purgeable string) string {
	return `DELETE FROM grants WHERE tenant_id = $1
	AND id IN (` + purgeable + `)
	AND (NOT EXISTS (SELECT 1 FROM sessions s WHERE s.tenant_id = $1 AND s.id = grants.session_id
			AND s.ended_at IS NULL AND s.expires_at > $3)
		OR EXISTS (SELECT 1 FROM session_applications n WHERE n.tenant_id = $1
			AND n.session_id = grants.session_id AND n.application_id = grants.application_id))`
}
