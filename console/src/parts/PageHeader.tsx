import { Group, Text, Title } from '@mantine/core'
import { type ReactNode, useEffect } from 'react'
import { useMe } from '../api/me'

/** The head of a page, which also names the browser's tab. action is the page's one primary action. */
export function PageHeader({
  title,
  lead,
  badge,
  action,
}: {
  title: string
  lead?: ReactNode
  badge?: ReactNode
  action?: ReactNode
}) {
  const me = useMe()
  useEffect(() => {
    document.title = `${title} · ${me.tenant.name}`
  }, [title, me.tenant.name])
  return (
    <Group component="header" justify="space-between" align="flex-start" gap="sm" mb="lg">
      <div>
        <Group gap="sm">
          <Title order={1} size="h2">
            {title}
          </Title>
          {badge}
        </Group>
        {lead && (
          <Text c="dimmed" size="sm" mt={4} component="div">
            {lead}
          </Text>
        )}
      </div>
      {action}
    </Group>
  )
}
