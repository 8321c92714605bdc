import { ActionIcon } from '@mantine/core'
import { useDisclosure, useHotkeys } from '@mantine/hooks'
import { Link, useLocation } from '@tanstack/react-router'
import { lazy, type ReactNode, Suspense, useEffect, useRef } from 'react'
import { useMe } from '../api/me'
import { MenuIcon, SearchIcon } from '../parts/icons'
import { useTexts } from '../texts'
import { PersonMenu } from './PersonMenu'
import classes from './Shell.module.css'
import { useSections } from './sections'

const Finder = lazy(() => import('./Finder'))

/** The frame of every page: navigation, header, and the page itself. */
export function Shell({ children }: { children: ReactNode }) {
  const t = useTexts()
  const me = useMe()
  const [menu, { close: closeMenu, toggle: toggleMenu }] = useDisclosure()
  const [finding, { open: find, close: stopFinding }] = useDisclosure()
  const { pathname } = useLocation()
  const main = useRef<HTMLElement>(null)
  useHotkeys([['mod+K', find]], [])

  // Another page: people who hear it continue at its beginning.
  const shown = useRef(pathname)
  useEffect(() => {
    if (shown.current === pathname) return
    shown.current = pathname
    closeMenu()
    main.current?.focus()
  }, [pathname, closeMenu])

  return (
    <div className={classes.shell}>
      <button type="button" className={classes.skip} onClick={() => main.current?.focus()}>
        {t.console.skip}
      </button>
      <div className={classes.side} data-open={menu || undefined} id="navigation">
        <Navigation tenant={me.tenant.name} />
      </div>
      <div>
        <header className={classes.top}>
          <ActionIcon
            className={classes.burger}
            variant="subtle"
            color="gray"
            size="lg"
            onClick={toggleMenu}
            aria-label={t.console.menu}
            aria-expanded={menu}
            aria-controls="navigation"
          >
            <MenuIcon />
          </ActionIcon>
          <button type="button" className={classes.find} onClick={find}>
            <SearchIcon />
            <span>{t.console.find}</span>
            <kbd>{'Ctrl K'}</kbd>
          </button>
          <PersonMenu />
        </header>
        <main className={classes.main} id="main" ref={main} tabIndex={-1}>
          {children}
        </main>
      </div>
      <Suspense>{finding && <Finder close={stopFinding} />}</Suspense>
    </div>
  )
}

function Navigation({ tenant }: { tenant: string }) {
  const t = useTexts()
  return (
    <nav className={classes.inner} aria-label={t.console.navigation}>
      <Link to="/" className={classes.tenant}>
        <span className={classes.initial} aria-hidden="true">
          {[...tenant][0]}
        </span>
        <span title={tenant}>{tenant}</span>
      </Link>
      {useSections().map((section) => (
        <div key={section.name}>
          <div className={classes.section} id={`section-${section.name}`}>
            {t.sections[section.name]}
          </div>
          <ul className={classes.list} aria-labelledby={`section-${section.name}`}>
            {section.pages.map(
              (page) =>
                page.icon && (
                  <li key={page.name}>
                    <Link {...page.link} className={classes.link} activeOptions={{ includeSearch: false }}>
                      <page.icon />
                      {t.sections[page.name]}
                    </Link>
                  </li>
                ),
            )}
          </ul>
        </div>
      ))}
    </nav>
  )
}
