import { Button, Table, Text, VisuallyHidden } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { answer, api } from '../api/client'
import { useMay, useMe } from '../api/me'
import { browserOf } from '../parts/browserOf'
import { Confirm, type Question } from '../parts/Confirm'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { Mark } from '../parts/Mark'
import { Moment } from '../parts/Moment'
import { Rows } from '../parts/Rows'
import { useTexts } from '../texts'
import { type User, userSessionsQuery } from './queries'

/** Where a user is signed in, with a way to end each session. */
export function Sessions({ user }: { user: User }) {
  const t = useTexts()
  const may = useMay()
  const me = useMe()
  const queries = useQueryClient()
  const [question, ask] = useState<Question>()
  const sessions = useQuery(userSessionsQuery(user.id))
  if (sessions.error) return <Failure error={sessions.error} again={() => sessions.refetch()} />
  if (sessions.data?.items.length === 0) return <Empty title={t.user.noSessions} hint={t.user.noSessionsHint} />
  return (
    <>
      <Rows label={t.user.sessions} loading={!sessions.data}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t.user.session}</Table.Th>
            <Table.Th className="wide">{t.user.strength}</Table.Th>
            <Table.Th className="wide">{t.user.started}</Table.Th>
            <Table.Th className="wide">{t.user.seen}</Table.Th>
            {may('session.revoke') && (
              <Table.Th>
                <VisuallyHidden>{t.user.actions}</VisuallyHidden>
              </Table.Th>
            )}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {sessions.data?.items.map((session) => {
            const browser = browserOf(session.agent) ?? t.user.unknownBrowser
            return (
              <Table.Tr key={session.id}>
                <Table.Td>
                  <span title={session.agent}>{browser}</span>{' '}
                  {session.id === me.session?.id && <Mark colour="blue">{t.user.thisSession}</Mark>}
                  <Text size="xs" c="dimmed">
                    {session.address}
                  </Text>
                </Table.Td>
                <Table.Td className="wide">
                  <span title={session.amr.join(', ')}>
                    {session.acr === 'aal2' ? t.user.twoFactors : t.user.oneFactor}
                  </span>
                </Table.Td>
                <Table.Td className="wide">
                  <Moment at={session.auth_time} />
                </Table.Td>
                <Table.Td className="wide">
                  <Moment at={session.last_seen_at} />
                </Table.Td>
                {may('session.revoke') && (
                  <Table.Td ta="end">
                    <Button
                      size="compact-sm"
                      variant="default"
                      aria-label={t.user.endSessionOf(browser)}
                      onClick={() =>
                        ask({
                          title: t.user.endTitle,
                          text: t.user.endText,
                          button: t.user.endSession,
                          act: async () => {
                            await answer(api.DELETE('/sessions/{id}', { params: { path: { id: session.id } } }))
                            await queries.invalidateQueries({ queryKey: ['users', user.id, 'sessions'] })
                          },
                        })
                      }
                    >
                      {t.user.endSession}
                    </Button>
                  </Table.Td>
                )}
              </Table.Tr>
            )
          })}
        </Table.Tbody>
      </Rows>
      <Confirm question={question} close={() => ask(undefined)} />
    </>
  )
}
