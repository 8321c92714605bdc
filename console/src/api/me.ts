import { queryOptions, useSuspenseQuery } from '@tanstack/react-query'
import { answer, api } from './client'

/** Who is signed in, and what the policies let this person do. */
export const meQuery = queryOptions({
  queryKey: ['me'],
  queryFn: ({ signal }) => answer(api.GET('/me', { signal })),
  staleTime: 60_000,
})

export function useMe() {
  return useSuspenseQuery(meQuery).data
}

/** Returns whether the person may do an action of the management API. The API decides in the end. */
export function useMay(): (action: string) => boolean {
  const { actions } = useMe()
  return (action) => actions.includes(action)
}
