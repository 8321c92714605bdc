import { Anchor, Button, Group, NativeSelect, Stack, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { tenantPath } from '../api/client'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { PageHeader } from '../parts/PageHeader'
import { Pages } from '../parts/Pages'
import { useTyped } from '../parts/useTyped'
import { useTexts } from '../texts'
import { EventRows } from './EventRows'
import { type EventsFilter, eventsQuery, outcomes } from './queries'
import { eventsRoute } from './routes'

const formats = ['csv', 'ndjson'] as const

/** Where the API sends every event that the filter matches, as a file. */
function exportAddress({ cursor, limit, ...filter }: EventsFilter, format: (typeof formats)[number]): string {
  const set = Object.entries({ ...filter, format }).filter(([, value]) => value !== undefined)
  return `${tenantPath}/api/v1/audit-events/export?${new URLSearchParams(Object.fromEntries(set))}`
}

export function Events() {
  const t = useTexts()
  const filter = eventsRoute.useSearch()
  const navigate = eventsRoute.useNavigate()
  const events = useQuery(eventsQuery(filter))
  const filtered = Object.values(filter).some(Boolean)
  const set = (change: EventsFilter, replace = false) =>
    void navigate({ search: { ...filter, cursor: undefined, ...change }, replace })
  return (
    <>
      <PageHeader
        title={t.audit.title}
        lead={t.audit.lead}
        action={
          <Group gap="sm">
            {formats.map((format) => (
              <Anchor key={format} size="sm" href={exportAddress(filter, format)} download>
                {t.audit.save[format]}
              </Anchor>
            ))}
            <Button variant="default" loading={events.isFetching} onClick={() => events.refetch()}>
              {t.audit.refresh}
            </Button>
          </Group>
        }
      />
      <Filters filter={filter} set={set} />
      {events.error ? (
        <Failure error={events.error} again={() => events.refetch()} />
      ) : events.data?.items.length === 0 ? (
        filtered ? (
          <Empty title={t.audit.noMatch} hint={t.audit.noMatchHint}>
            <Button variant="default" onClick={() => navigate({ search: {} })}>
              {t.parts.clear}
            </Button>
          </Empty>
        ) : (
          <Empty title={t.audit.emptyTitle} hint={t.audit.emptyHint} />
        )
      ) : (
        <EventRows events={events.data?.items} stale={events.isPlaceholderData} />
      )}
      <Pages
        cursor={filter.cursor}
        next={events.data?.next_cursor}
        go={(cursor) => navigate({ search: { ...filter, cursor } })}
      />
    </>
  )
}

function Filters({ filter, set }: { filter: EventsFilter; set: (change: EventsFilter, replace?: boolean) => void }) {
  const t = useTexts()
  const action = useTyped(filter.action, (value) => set({ action: value }, true))
  const actor = useTyped(filter.actor, (value) => set({ actor: value }, true))
  const target = useTyped(filter.target, (value) => set({ target: value }, true))
  const request = useTyped(filter.request_id, (value) => set({ request_id: value }, true))
  const time = (name: 'from' | 'to') => ({
    type: 'datetime-local',
    value: localTime(filter[name]),
    onChange: (event: { currentTarget: { value: string } }) => {
      const value = event.currentTarget.value
      set({ [name]: value ? new Date(value).toISOString() : undefined })
    },
  })
  const shown = Boolean(filter.from || filter.to || filter.actor || filter.target || filter.request_id)
  return (
    <Stack mb="md" gap="sm">
      <Group gap="sm" align="flex-end" className="filters">
        <TextInput label={t.audit.action} placeholder={t.audit.actionHint} {...action} />
        <NativeSelect
          label={t.audit.outcome}
          data={[{ value: '', label: t.parts.any }, ...outcomes.map((value) => ({ value, label: t.audit[value] }))]}
          value={filter.outcome ?? ''}
          onChange={(event) => set({ outcome: outcomes.find((it) => it === event.currentTarget.value) })}
        />
      </Group>
      <details className="more" open={shown}>
        <summary>{t.audit.more}</summary>
        <Group mt="xs" gap="sm" align="flex-end" className="filters">
          <TextInput label={t.audit.from} {...time('from')} />
          <TextInput label={t.audit.to} {...time('to')} />
          <TextInput label={t.audit.actorId} {...actor} />
          <TextInput label={t.audit.targetId} {...target} />
          <TextInput label={t.audit.request} {...request} />
        </Group>
      </details>
    </Stack>
  )
}

/** A time as an input of the type datetime-local has it, in the reader's zone. */
function localTime(at: string | undefined): string {
  const time = new Date(at ?? '')
  if (Number.isNaN(time.getTime())) return ''
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
}
