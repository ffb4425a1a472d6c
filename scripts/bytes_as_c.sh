#!/bin/sh
# A file's bytes as a list of numbers for a C initialiser, on stdout.
od -An -v -tu1 "$1" | tr -s ' ' ',' | sed 's/^,//; s/$/,/'
