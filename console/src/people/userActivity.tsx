import { Group, SegmentedControl } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { useTexts } from '../texts'
import { EventRows } from '../watch/EventRows'
import { eventsQuery } from '../watch/queries'
import type { User } from './queries'

const route = getRouteApi('/users/$user')

/** The latest audit events of a user: what happened to the user, or what the user did. */
export function Activity({ user }: { user: User }) {
  const t = useTexts()
  const { of = 'target' } = route.useSearch()
  const navigate = route.useNavigate()
  const filter = { [of]: user.id }
  const events = useQuery(eventsQuery({ ...filter, limit: 25 }))
  return (
    <>
      <Group justify="space-between" mb="md">
        <SegmentedControl
          aria-label={t.user.activity}
          value={of}
          onChange={(value) => navigate({ search: { tab: 'activity', of: value === 'actor' ? 'actor' : undefined } })}
          data={[
            { value: 'target', label: t.user.toThem },
            { value: 'actor', label: t.user.byThem },
          ]}
        />
        <Link to="/audit" search={filter} className="row">
          {t.user.inAudit}
        </Link>
      </Group>
      {events.error ? (
        <Failure error={events.error} again={() => events.refetch()} />
      ) : events.data?.items.length === 0 ? (
        <Empty title={t.user.noActivity} hint={t.user.noActivityHint} />
      ) : (
        <EventRows events={events.data?.items} stale={events.isPlaceholderData} />
      )}
    </>
  )
}
