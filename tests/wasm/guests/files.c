/* A guest that uses files: cat, write, list, stat, remove, rename, link. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int failed(const char *what)
{
    printf("%s: errno %d %s\n", what, errno, strerror(errno));
    return 9;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *a = argc > 2 ? argv[2] : "",
               *b = argc > 3 ? argv[3] : "";
    char text[256];
    struct stat s;
    if (strcmp(what, "cat") == 0) {
        FILE *f = fopen(a, "r");
        size_t n;
        if (!f)
            return failed(a);
        while ((n = fread(text, 1, sizeof text, f)) > 0)
            fwrite(text, 1, n, stdout);
        return fclose(f);
    }
    if (strcmp(what, "write") == 0) {
        FILE *f = fopen(a, "w");
        if (!f)
            return failed(a);
        fputs(b, f);
        return fclose(f) == 0 ? 0 : failed(a);
    }
    if (strcmp(what, "list") == 0) {
        DIR *d = opendir(a);
        int n = 0;
        if (!d)
            return failed(a);
        for (struct dirent *e; (e = readdir(d));)
            n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
        closedir(d);
        printf("%d entries\n", n);
        return 0;
    }
    if (strcmp(what, "stat") == 0)
        return stat(a, &s) == 0 ? !printf("%lld bytes\n", (long long)s.st_size) : failed(a);
    if (strcmp(what, "remove") == 0)
        return unlink(a) == 0 ? 0 : failed(a);
    if (strcmp(what, "rename") == 0)
        return rename(a, b) == 0 ? 0 : failed(a);
    if (strcmp(what, "mkdir") == 0)
        return mkdir(a, 0700) == 0 ? 0 : failed(a);
    if (strcmp(what, "link") == 0)
        return symlink(a, b) == 0 ? 0 : failed(b);
    return 2;
}
