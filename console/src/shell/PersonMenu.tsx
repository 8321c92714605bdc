import { Anchor, Button, Divider, Popover, SegmentedControl, Stack, Text, useMantineColorScheme } from '@mantine/core'
import { tenantPath } from '../api/client'
import { useMe } from '../api/me'
import { PersonIcon } from '../parts/icons'
import { languages, useLanguage } from '../texts'

const schemes = ['light', 'dark', 'auto'] as const

/** Who is signed in, how the console looks to them, and the way out. */
export function PersonMenu() {
  const { texts: t, language, choose } = useLanguage()
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const me = useMe()
  const name = [me.user?.given_name, me.user?.family_name].filter(Boolean).join(' ') || me.name
  return (
    <Popover position="bottom-end" width={280} withinPortal={false} trapFocus returnFocus shadow="md">
      <Popover.Target>
        <Button variant="subtle" color="gray" px="xs" className="plain" aria-label={`${t.console.account}: ${name}`}>
          <PersonIcon />
          <span className="wide">{name}</span>
        </Button>
      </Popover.Target>
      <Popover.Dropdown aria-label={t.console.account}>
        <Stack gap="sm">
          <Text size="sm" fw={600} truncate title={me.name}>
            {name}
          </Text>
          <Anchor size="sm" href={`${tenantPath}/account`}>
            {t.console.yourAccount}
          </Anchor>
          <Divider />
          <div>
            <Text size="xs" c="dimmed" mb={4}>
              {t.console.theme}
            </Text>
            <SegmentedControl
              fullWidth
              size="xs"
              aria-label={t.console.theme}
              value={colorScheme}
              onChange={(value) => setColorScheme(schemes.find((scheme) => scheme === value) ?? 'auto')}
              data={[
                { value: 'light', label: t.console.light },
                { value: 'dark', label: t.console.dark },
                { value: 'auto', label: t.console.system },
              ]}
            />
          </div>
          <div>
            <Text size="xs" c="dimmed" mb={4}>
              {t.console.language}
            </Text>
            <SegmentedControl
              fullWidth
              size="xs"
              aria-label={t.console.language}
              value={language}
              onChange={(value) => choose(value === 'de' ? 'de' : 'en')}
              data={Object.entries(languages).map(([value, label]) => ({ value, label }))}
            />
          </div>
          <Divider />
          <form method="post" action={`${tenantPath}/signout`}>
            <Button type="submit" variant="default" size="sm" fullWidth>
              {t.console.signOut}
            </Button>
          </form>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  )
}
