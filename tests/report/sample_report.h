/* A report with everything in it, hostile names included, for the tests and for looking at. */
#ifndef LEDGE_TESTS_SAMPLE_REPORT_H
#define LEDGE_TESTS_SAMPLE_REPORT_H

#include "report/html_report.h"

#define SAMPLE_HOSTILE "<script>alert(1)</script>\"'&\x01\xff/Conv"

/* Points to static storage; valid until the next call. */
LedgeHtmlReport sample_report(void);

#endif
