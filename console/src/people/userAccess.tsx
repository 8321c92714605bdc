import { Button, Group, Select, Stack, Table, Text, Title, VisuallyHidden } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { answer, api } from '../api/client'
import { useMay } from '../api/me'
import { Confirm, type Question } from '../parts/Confirm'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { Moment } from '../parts/Moment'
import { Rows } from '../parts/Rows'
import { useTexts } from '../texts'
import { type Held, rolesQuery, type User, userGroupsQuery, userRolesQuery } from './queries'

/** The roles of a user with where each comes from, and the groups. */
export function Access({ user }: { user: User }) {
  const t = useTexts()
  const may = useMay()
  const queries = useQueryClient()
  const [question, ask] = useState<Question>()
  const groups = useQuery({ ...userGroupsQuery(user.id), enabled: may('group.read') })
  const known = groups.data?.items ?? []
  const roles = useQuery({
    ...userRolesQuery(user.id, known),
    enabled: !may('group.read') || groups.data !== undefined,
  })
  const changed = () => queries.invalidateQueries({ queryKey: ['users', user.id, 'roles'] })
  const revoke = (held: Held) =>
    ask({
      title: t.user.revokeTitle(held.role),
      text: t.user.revokeText,
      button: t.user.revokeRole(held.role),
      act: async () => {
        const path = { id: user.id, role: held.role }
        await answer(api.DELETE('/users/{id}/roles/{role}', { params: { path } }))
        await changed()
      },
    })
  const error = groups.error ?? roles.error
  return (
    <Stack gap="xl">
      <section>
        <Title order={2} size="h4" mb="sm">
          {t.user.roles}
        </Title>
        {error ? (
          <Failure error={error} again={() => (groups.error ? groups.refetch() : roles.refetch())} />
        ) : roles.data?.length === 0 ? (
          <Empty title={t.user.noRoles} hint={t.user.noRolesHint} />
        ) : (
          <Rows label={t.user.roles} loading={!roles.data}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>{t.user.role}</Table.Th>
                <Table.Th>{t.user.from}</Table.Th>
                <Table.Th className="wide">{t.user.until}</Table.Th>
                {may('role.revoke') && (
                  <Table.Th>
                    <VisuallyHidden>{t.user.actions}</VisuallyHidden>
                  </Table.Th>
                )}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {roles.data?.map((held) => (
                <Table.Tr key={`${held.group?.id} ${held.role}`}>
                  <Table.Td>{held.role}</Table.Td>
                  <Table.Td>{held.group ? t.user.fromGroup(held.group.name) : t.user.direct}</Table.Td>
                  <Table.Td className="wide">
                    <Moment at={held.until} otherwise={t.user.noEnd} />
                  </Table.Td>
                  {may('role.revoke') && (
                    <Table.Td ta="end">
                      {!held.group && (
                        <Button
                          size="compact-sm"
                          variant="default"
                          aria-label={t.user.revokeRole(held.role)}
                          onClick={() => revoke(held)}
                        >
                          {t.user.revoke}
                        </Button>
                      )}
                    </Table.Td>
                  )}
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Rows>
        )}
        {groups.data?.next_cursor && (
          <Text size="sm" c="dimmed" mt="xs">
            {t.user.manyGroups}
          </Text>
        )}
        {may('role.grant') && roles.data && (
          <GiveRole user={user} held={roles.data.filter((it) => !it.group).map((it) => it.role)} given={changed} />
        )}
      </section>
      {may('group.read') && (
        <section>
          <Title order={2} size="h4" mb="sm">
            {t.user.groups}
          </Title>
          {groups.data?.items.length === 0 ? (
            <Empty title={t.user.noGroups} hint={t.user.noGroupsHint} />
          ) : (
            <Rows label={t.user.groups} loading={!groups.data}>
              <Table.Tbody>
                {known.map((group) => (
                  <Table.Tr key={group.id}>
                    <Table.Td>{group.name}</Table.Td>
                    <Table.Td c="dimmed">{group.description}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Rows>
          )}
        </section>
      )}
      <Confirm question={question} close={() => ask(undefined)} />
    </Stack>
  )
}

function GiveRole({ user, held, given }: { user: User; held: string[]; given: () => Promise<void> }) {
  const t = useTexts()
  const [role, choose] = useState<string | null>(null)
  const roles = useQuery(rolesQuery)
  const give = useMutation({
    mutationFn: (name: string) =>
      answer(api.POST('/users/{id}/roles', { params: { path: { id: user.id } }, body: { role: name } })),
    onSuccess: async () => {
      choose(null)
      await given()
    },
  })
  return (
    <Stack mt="md" gap="sm">
      <Group align="flex-end" gap="sm">
        <Select
          label={t.user.give}
          placeholder={t.user.role}
          data={roles.data?.items.map((it) => it.name).filter((name) => !held.includes(name)) ?? []}
          value={role}
          onChange={choose}
          searchable
        />
        <Button variant="default" disabled={!role} loading={give.isPending} onClick={() => role && give.mutate(role)}>
          {t.user.giveButton}
        </Button>
      </Group>
      {give.error && <Failure error={give.error} />}
    </Stack>
  )
}
