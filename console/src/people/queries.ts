import { keepPreviousData, queryOptions } from '@tanstack/react-query'
import { answer, api, type Schemas } from '../api/client'

export type User = Schemas['User']
export type UserStatus = User['status']
export const userStatuses = ['invited', 'active', 'locked', 'deactivated'] as const satisfies UserStatus[]

/** What people call a user: the names, or what the user signs in with. */
export function nameOf(user: Schemas['User']): string {
  const names = [user.given_name, user.family_name].filter(Boolean).join(' ')
  return names || user.nickname || user.email || user.username || user.id
}

export type UsersFilter = { search?: string; status?: UserStatus; cursor?: string; limit?: number }

export const usersQuery = (filter: UsersFilter) =>
  queryOptions({
    queryKey: ['users', 'list', filter],
    queryFn: ({ signal }) => answer(api.GET('/users', { params: { query: filter }, signal })),
    placeholderData: keepPreviousData,
  })

/** A user, with the tag that says which state a change is about. */
export const userQuery = (id: string) =>
  queryOptions({
    queryKey: ['users', id],
    queryFn: async ({ signal }) => {
      const call = api.GET('/users/{id}', { params: { path: { id } }, signal })
      const [user, { response }] = await Promise.all([answer(call), call])
      return { user, tag: response.headers.get('ETag') ?? undefined }
    },
  })

export const userGroupsQuery = (id: string) =>
  queryOptions({
    queryKey: ['users', id, 'groups'],
    queryFn: ({ signal }) => answer(api.GET('/users/{id}/groups', { params: { path: { id } }, signal })),
  })

export type Held = { role: string; until?: string; group?: { id: string; name: string } }

/** A user's roles, each with where it comes from: the user, or one of the groups. */
export const userRolesQuery = (id: string, groups: { id: string; name: string }[]) =>
  queryOptions({
    queryKey: ['users', id, 'roles', groups.map((group) => group.id)],
    queryFn: async ({ signal }): Promise<Held[]> => {
      const own = answer(api.GET('/users/{id}/roles', { params: { path: { id } }, signal }))
      const through = groups.map(async (group) => {
        const held = await answer(api.GET('/groups/{id}/roles', { params: { path: { id: group.id } }, signal }))
        return held.items.map(({ role, until }) => ({ role, until, group }))
      })
      const all = [(await own).items.map(({ role, until }): Held => ({ role, until })), ...(await Promise.all(through))]
      return all.flat().sort((a, b) => a.role.localeCompare(b.role))
    },
  })

export const rolesQuery = queryOptions({
  queryKey: ['roles'],
  queryFn: ({ signal }) => answer(api.GET('/roles', { params: { query: { limit: 200 } }, signal })),
  staleTime: 60_000,
})

export const userSessionsQuery = (id: string) =>
  queryOptions({
    queryKey: ['users', id, 'sessions'],
    queryFn: ({ signal }) => answer(api.GET('/sessions', { params: { query: { user_id: id, limit: 100 } }, signal })),
  })

export const credentialsQuery = (id: string) =>
  queryOptions({
    queryKey: ['users', id, 'credentials'],
    queryFn: ({ signal }) => answer(api.GET('/users/{id}/credentials', { params: { path: { id } }, signal })),
  })
