/* A client of `lanes`, written from its document alone.
 *
 *   talk KEY FILE       two users, ola and jan, through every operation; FILE is basic.txt
 *   hold KEY LOGIN      logs in, says its number, and stays
 *   race KEY TIMES PID  ola, jan and ewa log in at once, so many times, in a turn of their own: the
 *                       server, PID, is stopped until all of them wait for their answers
 *   rush KEY TIMES      the same with a server that runs, and says how it went
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct buf_elem {
    long mtype;
    int first;
    int second;
    char mess[512];
};

static int queue, p, g;

#define CHECK(what)                                                                     \
    do {                                                                                \
        if (!(what)) {                                                                  \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #what);                  \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

static void give(long mtype, int first, int second, const char *mess) {
    struct buf_elem e = {.mtype = mtype, .first = first, .second = second};
    snprintf(e.mess, sizeof e.mess, "%s", mess);
    CHECK(msgsnd(queue, &e, sizeof e - sizeof e.mtype, 0) == 0);
}

/* Seconds that nothing takes longer than, on a machine that does other things beside: a message,
 * and all of it. */
#define LONG 120
#define ALL 1200

static volatile int waits_at;

static void too_long(int signal) {
    (void)signal;
    fprintf(stderr, "line %d: waited in vain\n", waits_at);
    _exit(1);
}

static struct buf_elem get_at(long mtype, int line) {
    waits_at = line;
    struct buf_elem e;
    memset(&e, 0, sizeof e);
    alarm(LONG);
    CHECK(msgrcv(queue, &e, sizeof e - sizeof e.mtype, mtype, 0) >= 0);
    alarm(ALL);
    waits_at = 0;
    return e;
}

#define get(mtype) get_at(mtype, __LINE__)

static volatile int *turn;

/* The number, or 0 and why not. */
static int log_in(const char *login, char *why) {
    give(1, 0, 1, login);
    if (turn != NULL)
        ++*turn;
    struct buf_elem e = get(2);
    if (e.second != 0) {
        strcpy(why, e.mess);
        return 0;
    }
    CHECK(strcmp(e.mess, "Zalogowano\n") == 0);
    int number = e.first;
    e = get(2);
    p = e.first;
    g = e.second;
    return number;
}

static struct buf_elem ask_at(int number, int second, const char *mess, int line) {
    give(1, number, second, mess);
    return get_at(number + p, line);
}

#define ask(number, second, mess) ask_at(number, second, mess, __LINE__)

/* What the line of a user ('o') or group ('g') in basic.txt says behind its name. */
static int line_of(const char *file, char kind, int number, char *name, char *rest) {
    char line[2048];
    FILE *f = fopen(file, "r");
    CHECK(f != NULL);
    int found = 0, lines = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        char k;
        int n, used;
        lines++;
        CHECK(sscanf(line, "%c %d %s %n", &k, &n, name, &used) == 3);
        if (k == kind && n == number) {
            strcpy(rest, line + used);
            found = 1;
            break;
        }
    }
    fclose(f);
    return found;
}

static void talk(const char *file) {
    char why[512], name[512], rest[2048], text[512];
    int ola = log_in("ola pw-of-ola", why);
    CHECK(ola > 3 && p >= 2 && g >= 2);
    CHECK(log_in("ola pw-of-ola", why) == 0 && strcmp(why, "Taka osoba juz jest zalogowana\n") == 0);
    CHECK(log_in("a/b x", why) == 0 && strcmp(why, "Zly login\n") == 0);
    int jan = log_in("jan pw-of-jan", why);
    CHECK(jan > 3 && jan != ola);
    int k = ola - 3, l = jan - 3;
    CHECK(line_of(file, 'o', k, name, rest) && strcmp(name, "ola") == 0);
    CHECK(line_of(file, 'o', p, name, rest) && !line_of(file, 'o', p + 1, name, rest));
    CHECK(line_of(file, 'g', 1, name, rest) && strcmp(name, "news") == 0);
    CHECK(line_of(file, 'g', g, name, rest) && !line_of(file, 'g', g + 1, name, rest));

    struct buf_elem e = ask(ola, 3, "");
    CHECK(strstr(e.mess, "ola,") && strstr(e.mess, "jan,"));

    /* Groups: join, who is there, write, leave. */
    e = ask(jan, 3 + 3 * g + 1, "not yet");
    CHECK(strcmp(e.mess, "Nie nalezysz do tej grupy\n") == 0);
    e = ask(ola, 3 + 1, "");
    CHECK(e.second == 1);
    e = ask(jan, 3 + 1, "");
    CHECK(e.second == 1);
    CHECK(line_of(file, 'g', 1, name, rest));
    CHECK(atoi(rest) == k && atoi(strchr(rest, ' ')) == l);
    e = ask(ola, 3 + 2 * g + 1, "");
    CHECK(strcmp(e.mess, "ola jan ") == 0);
    e = ask(ola, 3 + 3 * g + 1, "do grupy");
    CHECK(strcmp(e.mess, "Wiadomosc wyslana") == 0);
    e = get(jan);
    CHECK(e.first == ola && e.second == 1 && strcmp(e.mess, "do grupy") == 0);
    e = ask(jan, 3 + g + 1, "");
    CHECK(e.second == 1);
    e = ask(jan, 3 + 2 * g + 1, "");
    CHECK(strcmp(e.mess, "ola ") == 0);

    /* To a person, the longest too, and to oneself. */
    e = ask(jan, 3 + 4 * g + k, "do oli");
    CHECK(strcmp(e.mess, "Wiadomosc wyslana") == 0);
    e = get(ola);
    CHECK(e.first == jan && e.second == 0 && strcmp(e.mess, "do oli") == 0);
    memset(text, 'x', 511);
    text[511] = 0;
    e = ask(ola, 3 + 4 * g + l, text);
    CHECK(strcmp(e.mess, "Wiadomosc wyslana") == 0);
    e = get(jan);
    CHECK(e.first == ola && strcmp(e.mess, text) == 0);
    e = ask(ola, 3 + 4 * g + k, "sobie");
    CHECK(strcmp(e.mess, "Wiadomosc wyslana") == 0);
    e = get(ola);
    CHECK(e.first == ola && strcmp(e.mess, "sobie") == 0);

    /* Out of range. */
    e = ask(ola, 3 + 4 * g + p + 1, "nikt");
    CHECK(e.second == 0 && strcmp(e.mess, "Blad\n") == 0);
    e = ask(ola, 3 + g, "");
    CHECK(e.second == 0 || e.second == g);

    /* Out, and what is sent meanwhile comes after the next log-in. */
    ask(jan, 2, "");
    e = ask(jan, 3, "");
    CHECK(strcmp(e.mess, "Blad\n") == 0);
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "pozniej %d", i);
        e = ask(ola, 3 + 4 * g + l, text);
        CHECK(strcmp(e.mess, "Wiadomosc wyslana") == 0);
    }
    CHECK(log_in("jan pw-of-jan", why) == jan);
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "pozniej %d", i);
        e = get(jan);
        CHECK(e.first == ola && strcmp(e.mess, text) == 0);
    }
    ask(ola, 2, "");
    ask(jan, 2, "");
}

/* Waits until a process is in a state: 'S' sleeps, 'T' is stopped. */
static void until_state(pid_t pid, char wanted) {
    char path[64], stat[512], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    while (state != wanted) {
        usleep(100);
        FILE *f = fopen(path, "r");
        CHECK(f != NULL && fgets(stat, sizeof stat, f) != NULL);
        fclose(f);
        state = strrchr(stat, ')')[2];
    }
}

static volatile int ended;

/* One that fails ends them all: the others would wait for it. */
static void child_ended(int signal) {
    (void)signal;
    int status;
    while (waitpid(-1, &status, WNOHANG) > 0) {
        if (status != 0)
            _exit(1);
        ended++;
    }
}

/* `server` is stopped until all wait; 0: it is not. */
static int race(int times, pid_t server) {
    static const char *logins[3] = {"ola x", "jan x", "ewa x"};
    struct shared {
        pthread_barrier_t barrier;
        volatile int turn, pids[3];
        int mistaken;
    } *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    pthread_barrierattr_t attr;
    pthread_barrierattr_init(&attr);
    pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&shared->barrier, &attr, 4);
    /* Who is who, one after another. */
    char why[512];
    int numbers[3];
    for (int i = 0; i < 3; i++) {
        numbers[i] = log_in(logins[i], why);
        CHECK(numbers[i] != 0);
        ask(numbers[i], 2, "");
    }
    int users = p, groups = g;
    signal(SIGCHLD, child_ended);
    for (int i = 0; i < 3; i++) {
        if (fork() != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(ALL);
        shared->pids[i] = getpid();
        for (int n = 0; n < times; n++) {
            pthread_barrier_wait(&shared->barrier);
            turn = &shared->turn;
            if (server != 0) {
                int own = (i + n) % 3;
                while (*turn != own)
                    usleep(100);
                if (own > 0)
                    until_state(shared->pids[(i + 2) % 3], 'S');
            }
            int number = log_in(logins[i], why);
            /* One that took another's first answer for its second has wrong ones of these. */
            if (number != numbers[i] || p != users || g != groups)
                __sync_fetch_and_add(&shared->mistaken, 1);
            p = users;
            g = groups;
            pthread_barrier_wait(&shared->barrier);
            /* Whoever it took itself for, every number is logged out again. */
            ask(numbers[i], 2, "");
            pthread_barrier_wait(&shared->barrier);
        }
        exit(0);
    }
    for (int n = 0; n < times; n++) {
        shared->turn = 0;
        if (server != 0) {
            CHECK(kill(server, SIGSTOP) == 0);
            until_state(server, 'T');
        }
        pthread_barrier_wait(&shared->barrier);
        if (server != 0) {
            while (shared->turn < 3)
                usleep(100);
            until_state(shared->pids[(2 + 2 * n) % 3], 'S');
            CHECK(kill(server, SIGCONT) == 0);
        }
        pthread_barrier_wait(&shared->barrier);
        pthread_barrier_wait(&shared->barrier);
    }
    while (ended < 3)
        usleep(1000);
    printf("%d log-ins, %d mistaken\n", 3 * times, shared->mistaken);
    return shared->mistaken;
}

int main(int argc, char **argv) {
    CHECK(argc >= 4);
    queue = msgget(atoi(argv[2]), 0);
    CHECK(queue >= 0);
    signal(SIGALRM, too_long);
    alarm(ALL);
    if (strcmp(argv[1], "talk") == 0) {
        talk(argv[3]);
    } else if (strcmp(argv[1], "race") == 0) {
        CHECK(argc == 5 && race(atoi(argv[3]), atoi(argv[4])) == 0);
    } else if (strcmp(argv[1], "rush") == 0) {
        race(atoi(argv[3]), 0);
    } else {
        char why[512];
        int number = log_in(argv[3], why);
        CHECK(number != 0);
        printf("%d\n", number);
        fflush(stdout);
        pause();
    }
    return 0;
}
