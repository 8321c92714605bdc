import { Center, Loader, Table } from '@mantine/core'
import type { ReactNode } from 'react'
import { useTexts } from '../texts'

/** A table of a list. stale dims what is shown until the answer to a new question is here. */
export function Rows({
  label,
  loading,
  stale,
  children,
}: {
  label: string
  loading?: boolean
  stale?: boolean
  children: ReactNode
}) {
  const t = useTexts()
  if (loading) {
    return (
      <Center mih={160}>
        <Loader size="sm" aria-label={t.console.loading} />
      </Center>
    )
  }
  return (
    <div className="rows" aria-busy={stale}>
      <Table aria-label={label} verticalSpacing={10} highlightOnHover>
        {children}
      </Table>
    </div>
  )
}
