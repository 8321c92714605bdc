import { Button, Group, NativeSelect, Table, Text, TextInput } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useMay } from '../api/me'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { SearchIcon } from '../parts/icons'
import { Moment } from '../parts/Moment'
import { PageHeader } from '../parts/PageHeader'
import { Pages } from '../parts/Pages'
import { Rows } from '../parts/Rows'
import { Status } from '../parts/Status'
import { useTyped } from '../parts/useTyped'
import { useTexts } from '../texts'
import { nameOf, userStatuses, usersQuery } from './queries'
import { usersRoute } from './routes'

export function Users() {
  const t = useTexts()
  const may = useMay()
  const filter = usersRoute.useSearch()
  const navigate = usersRoute.useNavigate()
  const users = useQuery(usersQuery(filter))
  const search = useTyped(filter.search, (text) => {
    void navigate({ search: { ...filter, search: text, cursor: undefined }, replace: true })
  })
  const add = may('user.create') && (
    <Button component={Link} to="/users/new">
      {t.users.add}
    </Button>
  )
  const filtered = filter.search || filter.status || filter.cursor
  return (
    <>
      <PageHeader title={t.users.title} lead={t.users.lead} action={add} />
      <Group mb="md" gap="sm" align="flex-end">
        <TextInput
          className="grows"
          label={t.users.search}
          placeholder={t.users.searchHint}
          leftSection={<SearchIcon />}
          {...search}
        />
        <NativeSelect
          label={t.users.status}
          data={[
            { value: '', label: t.parts.any },
            ...userStatuses.map((value) => ({ value, label: t.status[value] })),
          ]}
          value={filter.status ?? ''}
          onChange={(event) => {
            const status = userStatuses.find((it) => it === event.currentTarget.value)
            void navigate({ search: { ...filter, status, cursor: undefined } })
          }}
        />
      </Group>
      {users.error ? (
        <Failure error={users.error} again={() => users.refetch()} />
      ) : users.data?.items.length === 0 ? (
        filtered ? (
          <Empty title={t.users.noMatch} hint={t.users.noMatchHint}>
            <Button variant="default" onClick={() => navigate({ search: {} })}>
              {t.parts.clear}
            </Button>
          </Empty>
        ) : (
          <Empty title={t.users.emptyTitle} hint={t.users.emptyHint}>
            {add}
          </Empty>
        )
      ) : (
        <Rows label={t.users.title} loading={!users.data} stale={users.isPlaceholderData}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>{t.users.name}</Table.Th>
              <Table.Th className="wide">{t.users.username}</Table.Th>
              <Table.Th>{t.users.status}</Table.Th>
              <Table.Th className="wide">{t.users.lastSignIn}</Table.Th>
              <Table.Th className="wide">{t.users.created}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {users.data?.items.map((user) => (
              <Table.Tr key={user.id}>
                <Table.Td>
                  <Link to="/users/$user" params={{ user: user.id }} className="row">
                    {nameOf(user)}
                  </Link>
                  {user.email && user.email !== nameOf(user) && (
                    <Text size="xs" c="dimmed">
                      {user.email}
                    </Text>
                  )}
                </Table.Td>
                <Table.Td className="wide">{user.username}</Table.Td>
                <Table.Td>
                  <Status of={user.status} />
                </Table.Td>
                <Table.Td className="wide">
                  <Moment at={user.last_sign_in} otherwise={t.parts.never} />
                </Table.Td>
                <Table.Td className="wide">
                  <Moment at={user.created_at} />
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Rows>
      )}
      <Pages
        cursor={filter.cursor}
        next={users.data?.next_cursor}
        go={(cursor) => navigate({ search: { ...filter, cursor } })}
      />
    </>
  )
}
