import { Table } from '@mantine/core'
import { Link } from '@tanstack/react-router'
import { Mark } from '../parts/Mark'
import { Moment } from '../parts/Moment'
import { Rows } from '../parts/Rows'
import { useTexts } from '../texts'
import { actorName, targetName } from './names'
import type { AuditEvent } from './queries'

/** Audit events as rows of a table, each leading to its page. */
export function EventRows({ events, stale }: { events: AuditEvent[] | undefined; stale?: boolean }) {
  const t = useTexts()
  return (
    <Rows label={t.audit.title} loading={!events} stale={stale}>
      <Table.Thead>
        <Table.Tr>
          <Table.Th>{t.audit.at}</Table.Th>
          <Table.Th>{t.audit.action}</Table.Th>
          <Table.Th className="wide">{t.audit.actor}</Table.Th>
          <Table.Th className="wide">{t.audit.target}</Table.Th>
          <Table.Th>{t.audit.outcome}</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {events?.map((event) => (
          <Table.Tr key={event.id}>
            <Table.Td>
              <Moment at={event.at} />
            </Table.Td>
            <Table.Td>
              <Link to="/audit/$event" params={{ event: event.id }} className="row mono">
                <Action name={event.action} />
              </Link>
            </Table.Td>
            <Table.Td className="wide">{actorName(t, event.actor)}</Table.Td>
            <Table.Td className="wide">{targetName(event.target)}</Table.Td>
            <Table.Td>
              <Outcome of={event} />
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Rows>
  )
}

export function Outcome({ of }: { of: AuditEvent }) {
  const t = useTexts()
  return <Mark colour={of.outcome === 'refused' ? 'orange' : 'gray'}>{t.audit[of.outcome]}</Mark>
}

/** The name of an action, which a narrow column breaks behind its dot. */
function Action({ name }: { name: string }) {
  const [noun, ...verb] = name.split('.')
  return (
    <>
      {noun}
      {verb.length > 0 && '.'}
      <wbr />
      {verb.join('.')}
    </>
  )
}
