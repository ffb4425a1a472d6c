#!/bin/sh
# Opens a report in a real Chromium, at a desk's and a phone's width: it must parse as written,
# run no script, and not be wider than the window. Exit 77 (skipped) without Chromium.
# Usage: open_in_chromium.sh WRITE_SAMPLE, or open_in_chromium.sh REPORT.html
set -u
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome) || exit 77
work=$(mktemp -d "${TMPDIR:-/tmp}/ledge-report-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
case $1 in
*.html) cp "$1" "$work/report.html" || exit 1 ;;
*) "$1" "$work/report.html" || exit 1 ;;
esac

# The page forbids scripts, so a copy that allows one tells the frame around it how wide it is.
sed -e '/Content-Security-Policy/d' \
    -e "s|</main>|<script>parent.postMessage([document.documentElement.scrollWidth, innerWidth, document.querySelectorAll('svg').length, [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().width > 0).length, document.querySelectorAll('script').length].join(' '), '*')</script>&|" \
    "$work/report.html" >"$work/copy.html"
dump() { # URL
    timeout 60 "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" \
        --allow-file-access-from-files --virtual-time-budget=3000 --dump-dom "$1" 2>"$work/log"
}
failed=0
for width in 1280 360; do
    cat >"$work/frame.html" <<END
<!doctype html><body><script>onmessage = e => document.body.dataset.seen = e.data</script>
<iframe src="copy.html" width="$width" height="900" style="border:0"></iframe></body>
END
    dump "file://$work/frame.html" >"$work/dom"
    seen=$(sed -n 's/.*data-seen="\([^"]*\)".*/\1/p' "$work/dom")
    # shellcheck disable=SC2086 # five numbers
    set -- ${seen:-0 0 0 0 0}
    echo "$width pixels: page $1 wide in $2, $3 charts, $4 of them shown, $5 script"
    [ "$2" -gt 0 ] && [ "$1" -le "$2" ] && [ "$(($4 * 2))" = "$3" ] && [ "$5" = 1 ] || failed=1
done
# The page itself, as it is: its text arrives, and the hostile name is text.
dump "file://$work/report.html" >"$work/dom"
grep -q '<h1>' "$work/dom" && ! grep -q '<script' "$work/dom" || failed=1
[ "$failed" = 0 ] || sed 's/^/log: /' "$work/log" | tail -5
exit "$failed"
