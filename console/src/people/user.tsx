import { Button, Center, Loader, Menu, Tabs } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { answer, api, type Schemas } from '../api/client'
import { useMay } from '../api/me'
import { Confirm, type Question } from '../parts/Confirm'
import { Id } from '../parts/CopyButton'
import { Failure } from '../parts/Failure'
import { PageHeader } from '../parts/PageHeader'
import { Status } from '../parts/Status'
import { useTexts } from '../texts'
import { nameOf, type User, userQuery } from './queries'
import { userRoute, userTabs } from './routes'
import { Access } from './userAccess'
import { Activity } from './userActivity'
import { Credentials } from './userCredentials'
import { Profile } from './userProfile'
import { Sessions } from './userSessions'

export function UserPage() {
  const t = useTexts()
  const may = useMay()
  const { user: id } = userRoute.useParams()
  const { tab = 'profile' } = userRoute.useSearch()
  const navigate = userRoute.useNavigate()
  const query = useQuery(userQuery(id))
  if (query.error) {
    return (
      <>
        <PageHeader title={t.users.title} />
        <Failure error={query.error} again={() => query.refetch()} />
      </>
    )
  }
  if (!query.data) {
    return (
      <Center mih={240}>
        <Loader aria-label={t.console.loading} />
      </Center>
    )
  }
  const { user, tag } = query.data
  const offered = userTabs.filter((it) => may(it.action))
  return (
    <>
      <PageHeader
        title={nameOf(user)}
        badge={<Status of={user.status} />}
        lead={<Id value={user.id} />}
        action={<Actions user={user} />}
      />
      <Tabs
        value={tab}
        onChange={(to) => navigate({ search: { tab: userTabs.find((it) => it.name === to)?.name } })}
        keepMounted={false}
      >
        <Tabs.List mb="lg" className="tabs">
          {offered.map((it) => (
            <Tabs.Tab key={it.name} value={it.name}>
              {t.user[it.name]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="profile">
          <Profile key={user.id} user={user} tag={tag} />
        </Tabs.Panel>
        <Tabs.Panel value="access">
          <Access user={user} />
        </Tabs.Panel>
        <Tabs.Panel value="sessions">
          <Sessions user={user} />
        </Tabs.Panel>
        <Tabs.Panel value="credentials">
          <Credentials user={user} />
        </Tabs.Panel>
        <Tabs.Panel value="activity">
          <Activity user={user} />
        </Tabs.Panel>
      </Tabs>
    </>
  )
}

type Change = NonNullable<Schemas['UpdateUserRequest']['status']>

/** What can be done to the user as a whole. What ends something is asked about first. */
function Actions({ user }: { user: User }) {
  const t = useTexts()
  const may = useMay()
  const queries = useQueryClient()
  const navigate = useNavigate()
  const [question, ask] = useState<Question>()
  const set = async (status: Change) => {
    await answer(api.PATCH('/users/{id}', { params: { path: { id: user.id } }, body: { status } }))
    await queries.invalidateQueries({ queryKey: ['users'] })
  }
  const name = nameOf(user)
  const back = user.status === 'locked' ? t.user.unlock : t.user.reactivate
  if (!may('user.update') && !may('user.delete')) return null
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <Button variant="default">{t.user.actions}</Button>
        </Menu.Target>
        <Menu.Dropdown>
          {may('user.update') && (user.status === 'locked' || user.status === 'deactivated') && (
            <Menu.Item
              onClick={() =>
                ask({
                  title: `${back}: ${name}`,
                  text: t.user.backText,
                  button: back,
                  safe: true,
                  act: () => set('active'),
                })
              }
            >
              {back}
            </Menu.Item>
          )}
          {may('user.update') && user.status === 'active' && (
            <Menu.Item
              onClick={() =>
                ask({
                  title: t.user.lockTitle(name),
                  text: t.user.lockText,
                  button: t.user.lock,
                  act: () => set('locked'),
                })
              }
            >
              {t.user.lock}
            </Menu.Item>
          )}
          {may('user.update') && user.status !== 'deactivated' && (
            <Menu.Item
              onClick={() =>
                ask({
                  title: t.user.deactivateTitle(name),
                  text: t.user.deactivateText,
                  button: t.user.deactivate,
                  act: () => set('deactivated'),
                })
              }
            >
              {t.user.deactivate}
            </Menu.Item>
          )}
          {may('user.delete') && (
            <Menu.Item
              color="red"
              onClick={() =>
                ask({
                  title: t.user.removeTitle(name),
                  text: t.user.removeText,
                  button: t.user.removeConfirm,
                  typed: user.email || user.username || name,
                  act: async () => {
                    await answer(api.DELETE('/users/{id}', { params: { path: { id: user.id } } }))
                    await navigate({ to: '/users' })
                    queries.removeQueries({ queryKey: ['users'] })
                  },
                })
              }
            >
              {t.user.remove}
            </Menu.Item>
          )}
        </Menu.Dropdown>
      </Menu>
      <Confirm question={question} close={() => ask(undefined)} />
    </>
  )
}
