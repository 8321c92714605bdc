package internal

import (
	"io/fs"
	"slices"
	"testing"

	"github.com/gatehouse-iam/gatehouse/migrations"
)

// Each number is one step, and each step has a file of one name for both databases.
func TestMigrationsArePairs(t *testing.T) {
	names := func(files fs.FS, dir string) []string {
		found, err := fs.Glob(files, dir+"/*.sql")
		if err != nil || len(found) == 0 {
			t.Fatalf("%d files of %s: %v", len(found), dir, err)
		}
		for i, name := range found {
			found[i] = name[len(dir)+1:]
		}
		return found
	}
	postgres, sqlite := names(migrations.Postgres, "postgres"), names(migrations.SQLite, "sqlite")
	for _, fault := range unpaired(postgres, sqlite) {
		t.Error(fault)
	}
	for _, faulty := range [][2][]string{
		{{"00001_a.sql", "00001_b.sql"}, {"00001_a.sql", "00001_b.sql"}},
		{{"00001_a.sql"}, {"00001_b.sql"}},
		{{"00001_a.sql", "00002_b.sql"}, {"00001_a.sql"}},
	} {
		if len(unpaired(faulty[0], faulty[1])) == 0 {
			t.Errorf("%v and %v pass", faulty[0], faulty[1])
		}
	}
}

// unpaired returns what is wrong with the names of migrations.
func unpaired(postgres, sqlite []string) []string {
	var faults []string
	for i, name := range postgres {
		if !slices.Contains(sqlite, name) {
			faults = append(faults, name+" has no file for SQLite")
		}
		if i > 0 && name[:5] == postgres[i-1][:5] {
			faults = append(faults, name+" has the number of "+postgres[i-1])
		}
	}
	for _, name := range sqlite {
		if !slices.Contains(postgres, name) {
			faults = append(faults, name+" has no file for Postgres")
		}
	}
	return faults
}
