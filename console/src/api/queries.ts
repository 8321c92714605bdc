import { QueryClient } from '@tanstack/react-query'
import { Problem } from './client'

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // A page's loader asks first. What it did not get is not asked for again by the page.
      retryOnMount: false,
      // A refusal stays one. A server that restarts, or a network that is gone, may be back soon.
      retry: (failures, error) => failures < 2 && !(error instanceof Problem && error.status !== 503),
    },
  },
})
