
(function () {
  'use strict';
  // The prefixes are those of kit/web: a page of plain http cannot set such a cookie.
  var name = (location.protocol === 'https:' ? '(?:__Host-|__Secure-)' : '') + 'gh_browser_state=';
  function states() {
    return document.cookie.split('; ').map(function (c) {
      var m = new RegExp('^' + name + '(.*)$').exec(c);
      return m && m[1];
    }).filter(Boolean);
  }
  async function hash(text) {
    var sum = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)));
    return btoa(String.fromCharCode.apply(null, sum)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
  }
  // The answer is "error" if a browser hides the cookie: "changed" would make the application ask again
  // and again (Session Management §3.2).
  async function check(message, origin) {
    var m = typeof message === 'string' && message.length <= 1024 && /^(\S+) ([\w-]+)\.([\w-]+)$/.exec(message);
    if (!m || !window.crypto || !crypto.subtle) return 'error';
    var all = states();
    if (!all.length && document.hasStorageAccess && !(await document.hasStorageAccess())) return 'error';
    for (var i = 0; i < all.length && i < 4; i++) {
      if (await hash(m[1] + ' ' + origin + ' ' + all[i] + ' ' + m[3]) === m[2]) return 'unchanged';
    }
    return 'changed';
  }
  addEventListener('message', function (e) {
    if (!e.source || !/^https?:/.test(e.origin) || e.source === window) return;
    check(e.data, e.origin).catch(function () { return 'error'; }).then(function (answer) {
      e.source.postMessage(answer, e.origin);
    });
  });
})();
