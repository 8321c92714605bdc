import { createTheme, type MantineColorsTuple } from '@mantine/core'

// The accent of the hosted pages, lighter and darker.
const gate: MantineColorsTuple = [
  '#eef2ff',
  '#dde5fd',
  '#bccaf9',
  '#9db2ff',
  '#7b97f5',
  '#5b7cf0',
  '#4267e4',
  '#2f55d4',
  '#2849b6',
  '#203a92',
]

export const theme = createTheme({
  colors: { gate },
  primaryColor: 'gate',
  primaryShade: { light: 7, dark: 6 },
  defaultRadius: 'md',
  cursorType: 'pointer',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, monospace',
  // The style element of the lock is against the page's policy: styles.css locks the page instead.
  components: { ModalRoot: { defaultProps: { lockScroll: false } } },
  headings: { fontWeight: '600' },
})
