import { Paper, Text, Title } from '@mantine/core'
import type { ReactNode } from 'react'

/** Says that there is nothing, and what the first step is. */
export function Empty({
  title,
  hint,
  order = 2,
  children,
}: {
  title: string
  hint: string
  order?: 1 | 2
  children?: ReactNode
}) {
  return (
    <Paper withBorder p="xl" ta="center">
      <Title order={order} size="h4">
        {title}
      </Title>
      <Text c="dimmed" mt={4} mb={children ? 'md' : 0}>
        {hint}
      </Text>
      {children}
    </Paper>
  )
}
