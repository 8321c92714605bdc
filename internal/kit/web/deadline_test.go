package web

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deadline{Context: t.Context(), at: time.Now().Add(time.Second)}
		if d.Err() != nil {
			t.Error("ended at once")
		}
		child, cancel := context.WithCancel(d)
		defer cancel()
		time.Sleep(time.Second)
		<-child.Done()
		if !errors.Is(child.Err(), context.DeadlineExceeded) {
			t.Errorf("%v", child.Err())
		}
		d.end()

		called := make(chan struct{})
		d = &deadline{Context: t.Context(), at: time.Now().Add(time.Second)}
		context.AfterFunc(d, func() { close(called) })
		if stop := context.AfterFunc(d, func() { t.Error("called though stopped") }); !stop() {
			t.Error("stopped too late")
		}
		time.Sleep(time.Second)
		<-called
		d.end()

		unasked := &deadline{Context: t.Context(), at: time.Now().Add(time.Hour)}
		unasked.end()
		if unasked.Err() == nil {
			t.Error("over, but not ended")
		}
		parent, stop := context.WithCancel(t.Context())
		d = &deadline{Context: parent, at: time.Now().Add(time.Hour)}
		done := d.Done()
		stop()
		<-done
		d.end()
	})
}
