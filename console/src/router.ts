import { createRouter } from '@tanstack/react-router'
import { consolePath } from './api/client'
import { newUserRoute, userRoute, usersRoute } from './people/routes'
import { onboardRoute, tenantRoute, tenantsRoute } from './platform/routes'
import { rootRoute } from './shell/root'
import { startRoute } from './shell/start'
import { eventRoute, eventsRoute } from './watch/routes'

export const router = createRouter({
  routeTree: rootRoute.addChildren([
    startRoute,
    usersRoute,
    newUserRoute,
    userRoute,
    eventsRoute,
    eventRoute,
    tenantsRoute,
    onboardRoute,
    tenantRoute,
  ]),
  basepath: consolePath,
  defaultPreload: 'intent',
  scrollRestoration: true,
  // Filters stand in the address as they were typed. Every value is a text.
  parseSearch: (search) => Object.fromEntries(new URLSearchParams(search)),
  stringifySearch: (search) => {
    const set = Object.entries(search).filter(([, value]) => value !== undefined && value !== '')
    const text = new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()
    return text && `?${text}`
  },
})

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router
  }
}
