import { createRoute, Navigate } from '@tanstack/react-router'
import { Empty } from '../parts/Empty'
import { useTexts } from '../texts'
import { rootRoute } from './root'
import { useSections } from './sections'

export const startRoute = createRoute({ getParentRoute: () => rootRoute, path: '/', component: Start })

function Start() {
  const t = useTexts()
  const first = useSections().at(0)?.pages.at(0)
  if (first) return <Navigate {...first.link} replace />
  return <Empty order={1} title={t.errors.nothing} hint={t.errors.nothingHint} />
}
