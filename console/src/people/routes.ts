import { createRoute, lazyRouteComponent } from '@tanstack/react-router'
import { queryClient } from '../api/queries'
import { rootRoute } from '../shell/root'
import { type UsersFilter, userQuery, userStatuses, usersQuery } from './queries'

export const usersRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/users',
  validateSearch: (search: Record<string, string>): UsersFilter => ({
    search: search.search || undefined,
    status: userStatuses.find((status) => status === search.status),
    cursor: search.cursor || undefined,
  }),
  loaderDeps: ({ search }) => search,
  // The page shows the failure itself.
  loader: ({ deps }) => queryClient.prefetchQuery(usersQuery(deps)),
  component: lazyRouteComponent(() => import('./users'), 'Users'),
})

export const newUserRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/users/new',
  component: lazyRouteComponent(() => import('./newUser'), 'NewUser'),
})

/** The parts of a user's page, and the action that shows each. */
export const userTabs = [
  { name: 'profile', action: 'user.read' },
  { name: 'access', action: 'role.read' },
  { name: 'sessions', action: 'session.read' },
  { name: 'credentials', action: 'credential.read' },
  { name: 'activity', action: 'audit.read' },
] as const

type UserTab = (typeof userTabs)[number]['name']

export const userRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: '/users/$user',
  validateSearch: (search: Record<string, string>): { tab?: UserTab; of?: 'actor' } => ({
    tab: userTabs.find((tab) => tab.name === search.tab)?.name,
    of: search.of === 'actor' ? 'actor' : undefined,
  }),
  loader: ({ params }) => queryClient.prefetchQuery(userQuery(params.user)),
  component: lazyRouteComponent(() => import('./user'), 'UserPage'),
})
