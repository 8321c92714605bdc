import { Center, Loader } from '@mantine/core'
import { createRootRoute, type ErrorComponentProps, Link, Outlet } from '@tanstack/react-router'
import { meQuery } from '../api/me'
import { queryClient } from '../api/queries'
import { Empty } from '../parts/Empty'
import { Failure } from '../parts/Failure'
import { useTexts } from '../texts'
import { Shell } from './Shell'

export const rootRoute = createRootRoute({
  // Before the loaders of pages: a browser without a session makes one call, and then signs in.
  beforeLoad: async () => {
    await queryClient.ensureQueryData(meQuery)
  },
  component: () => (
    <Shell>
      <Outlet />
    </Shell>
  ),
  pendingComponent: Waiting,
  errorComponent: Broken,
  notFoundComponent: Missing,
})

function Waiting() {
  const t = useTexts()
  return (
    <Center mih="60vh">
      <Loader aria-label={t.console.loading} />
    </Center>
  )
}

export function Broken({ error, reset }: ErrorComponentProps) {
  return (
    <main className="alone">
      <Failure
        error={error}
        again={() => {
          void queryClient.resetQueries()
          reset()
        }}
      />
    </main>
  )
}

function Missing() {
  const t = useTexts()
  return (
    <Empty order={1} title={t.errors.notFound} hint={t.errors.notFoundHint}>
      <Link to="/">{t.errors.home}</Link>
    </Empty>
  )
}
