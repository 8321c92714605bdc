package clock

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Bounded{Context: t.Context(), At: time.Now().Add(time.Second)}
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
		d.End()

		called := make(chan struct{})
		d = &Bounded{Context: t.Context(), At: time.Now().Add(time.Second)}
		context.AfterFunc(d, func() { close(called) })
		if stop := context.AfterFunc(d, func() { t.Error("called though stopped") }); !stop() {
			t.Error("stopped too late")
		}
		time.Sleep(time.Second)
		<-called
		d.End()

		d = &Bounded{Context: t.Context(), At: time.Now().Add(time.Second)}
		time.Sleep(time.Second)
		if !errors.Is(d.Err(), context.DeadlineExceeded) || d.timed.Load() != nil {
			t.Errorf("%v, although nothing waited", d.Err())
		}
		<-d.Done()
		d.End()

		unasked := &Bounded{Context: t.Context(), At: time.Now().Add(time.Hour)}
		unasked.End()
		if unasked.Err() == nil {
			t.Error("over, but not ended")
		}
		parent, stop := context.WithCancel(t.Context())
		d = &Bounded{Context: parent, At: time.Now().Add(time.Hour)}
		done := d.Done()
		stop()
		<-done
		d.End()
	})
}
