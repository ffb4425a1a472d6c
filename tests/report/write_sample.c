/* Writes the sample report, for the browser test and for looking at: write_sample FILE.html */
#include <stdio.h>

#include "sample_report.h"

int main(int argc, char **argv)
{
    LedgeError err = {0};
    const LedgeHtmlReport r = sample_report();
    if (argc == 2 && ledge__html_report_write(&r, argv[1], &err) == LEDGE_OK)
        return 0;
    fprintf(stderr, "write_sample: %s\n", argc == 2 ? err.message : "give a file's name");
    return 1;
}
