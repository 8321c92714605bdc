import { Code, Stack, Table, Title } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import type { ReactNode } from 'react'
import { useMe } from '../api/me'
import { browserOf } from '../parts/browserOf'
import { Id } from '../parts/CopyButton'
import { Failure } from '../parts/Failure'
import { Moment } from '../parts/Moment'
import { PageHeader } from '../parts/PageHeader'
import { Rows } from '../parts/Rows'
import { useTexts } from '../texts'
import { Outcome } from './EventRows'
import { actorName, targetName } from './names'
import { eventQuery } from './queries'
import { eventRoute } from './routes'

export function Event() {
  const t = useTexts()
  const me = useMe()
  const { event: id } = eventRoute.useParams()
  const { data: event, error, refetch } = useQuery(eventQuery(id))
  if (error) {
    return (
      <>
        <PageHeader title={t.audit.title} />
        <Failure error={error} again={() => refetch()} />
      </>
    )
  }
  if (!event) return null
  const { changed, ...rest } = event.detail ?? {}
  return (
    <>
      <PageHeader
        title={event.action}
        badge={<Outcome of={event} />}
        lead={<Moment at={event.at} />}
        action={<Link to="/audit">{t.audit.back}</Link>}
      />
      <Stack gap="xl">
        <dl className="facts">
          <Fact name={t.audit.actor}>
            <Party name={actorName(t, event.actor)} kind={event.actor.kind} id={event.actor.id} />
          </Fact>
          {event.actor.tenant_id && event.actor.tenant_id !== me.tenant.id && (
            <Fact name={t.audit.otherTenant}>
              <Id value={event.actor.tenant_id} />
            </Fact>
          )}
          {event.actor.via && (
            <Fact name={t.audit.via}>
              {event.actor.via === me.application_id ? t.audit.viaConsole : <Id value={event.actor.via} />}
            </Fact>
          )}
          <Fact name={t.audit.target}>
            <Party name={targetName(event.target)} kind={event.target.kind} id={event.target.id} />
          </Fact>
          {event.address && <Fact name={t.audit.address}>{event.address}</Fact>}
          {event.agent && (
            <Fact name={t.audit.agent}>
              <span title={event.agent}>{browserOf(event.agent)}</span>
            </Fact>
          )}
          {event.request_id && (
            <Fact name={t.audit.request}>
              <Id value={event.request_id} what={t.audit.request} />{' '}
              <Link to="/audit" search={{ request_id: event.request_id }}>
                {t.audit.related}
              </Link>
            </Fact>
          )}
          <Fact name={t.parts.id}>
            <Id value={event.id} />
          </Fact>
        </dl>
        {isObject(changed) && <Changes of={changed} />}
        {Object.keys(rest).length > 0 && (
          <section>
            <Title order={2} size="h4" mb="sm">
              {t.audit.detail}
            </Title>
            <Code block tabIndex={0} aria-label={t.audit.detail}>
              {JSON.stringify(rest, null, 2)}
            </Code>
          </section>
        )}
      </Stack>
    </>
  )
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  )
}

function Party({ name, kind, id }: { name: string; kind?: string; id?: string }) {
  return (
    <>
      {kind === 'user' && id ? (
        <Link to="/users/$user" params={{ user: id }}>
          {name}
        </Link>
      ) : (
        name
      )}
      {id && (
        <div>
          <Id value={id} />
        </div>
      )}
    </>
  )
}

/** Every changed field with its value before and after. A long list has what was removed and added. */
function Changes({ of }: { of: Record<string, unknown> }) {
  const t = useTexts()
  return (
    <section>
      <Title order={2} size="h4" mb="sm">
        {t.audit.changed}
      </Title>
      <Rows label={t.audit.changed}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t.audit.field}</Table.Th>
            <Table.Th>{t.audit.before}</Table.Th>
            <Table.Th>{t.audit.after}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {Object.entries(of).map(([field, change]) => {
            const sides: Record<string, unknown> = isObject(change) ? change : { to: change }
            return (
              <Table.Tr key={field}>
                <Table.Th scope="row" className="mono">
                  {field}
                </Table.Th>
                <Table.Td className="mono">{text(sides.from ?? sides.removed)}</Table.Td>
                <Table.Td className="mono">{text(sides.to ?? sides.added)}</Table.Td>
              </Table.Tr>
            )
          })}
        </Table.Tbody>
      </Rows>
    </section>
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function text(value: unknown): string {
  if (value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}
