import { Button, Group, Table } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { answer, api } from '../api/client'
import { useMay } from '../api/me'
import { Confirm, type Question } from '../parts/Confirm'
import { Failure } from '../parts/Failure'
import { Moment } from '../parts/Moment'
import { Rows } from '../parts/Rows'
import { useTexts } from '../texts'
import { credentialsQuery, type User } from './queries'

/** What a user signs in with. Secrets are never shown. */
export function Credentials({ user }: { user: User }) {
  const t = useTexts()
  const may = useMay()
  const queries = useQueryClient()
  const [question, ask] = useState<Question>()
  const { data, error, refetch } = useQuery(credentialsQuery(user.id))
  if (error) return <Failure error={error} again={() => refetch()} />
  const remove = () =>
    ask({
      title: t.user.removeAuthenticatorTitle,
      text: t.user.removeAuthenticatorText,
      button: t.user.removeAuthenticator,
      act: async () => {
        await answer(api.DELETE('/users/{id}/totp', { params: { path: { id: user.id } } }))
        await queries.invalidateQueries({ queryKey: ['users', user.id, 'credentials'] })
      },
    })
  return (
    <>
      <Rows label={t.user.credentials} loading={!data}>
        <Table.Tbody>
          <Table.Tr>
            <Table.Th scope="row">{t.user.password}</Table.Th>
            <Table.Td>
              {data?.password ? (
                <>
                  {t.user.passwordSince} <Moment at={data.password_changed_at} />
                </>
              ) : (
                t.user.noPassword
              )}
            </Table.Td>
          </Table.Tr>
          <Table.Tr>
            <Table.Th scope="row">{t.user.authenticator}</Table.Th>
            <Table.Td>
              {data?.totp ? (
                <Group justify="space-between">
                  <span>
                    {t.user.authenticatorSince} <Moment at={data.totp_since} />
                  </span>
                  {may('credential.reset') && (
                    <Button size="compact-sm" variant="default" onClick={remove}>
                      {t.user.removeAuthenticator}
                    </Button>
                  )}
                </Group>
              ) : (
                t.user.noAuthenticator
              )}
            </Table.Td>
          </Table.Tr>
          <Table.Tr>
            <Table.Th scope="row">{t.user.codes}</Table.Th>
            <Table.Td>{data && (data.recovery_codes ? t.user.codesLeft(data.recovery_codes) : t.parts.none)}</Table.Td>
          </Table.Tr>
        </Table.Tbody>
      </Rows>
      <Confirm question={question} close={() => ask(undefined)} />
    </>
  )
}
